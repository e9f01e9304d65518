"""The kernel command line that every guest of the lab boots with."""

KERNEL_ARGS: tuple[str, ...] = (
    # The lab reads readiness, oopses and panics here.
    "console=ttyS0",
    # Errors and worse print, panics with their trace; each line costs on an emulated port.
    "loglevel=4",
    # With QEMU's -no-reboot, QEMU exits at a panic and the lab quotes the console.
    "panic=-1",
    # eth0, whatever slot the network card is in.
    "net.ifnames=0",
    # The emulated timer works: do not wait to see it tick.
    "no_timer_check",
    # All emulated CPUs read the host's one counter: neither compare them when a CPU starts, nor
    # watch it afterwards (a busy host makes the watchdog distrust it).
    "tsc=reliable",
    # No security modules beside capabilities: 30 to 90 ms for AppArmor, IMA and EVM, which the
    # lab does not test.
    "lsm=",
    # No self-tests when an algorithm is loaded (crc32c for erofs): 60 to 90 ms.
    "cryptomgr.notests",
)
