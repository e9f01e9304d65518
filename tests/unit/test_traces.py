# SPDX-License-Identifier: GPL-2.0-or-later
"""Which functions a kernel was in, by the traces on its console."""

from lab.guest.oops import unstamped
from lab.guest.traces import traces, where

INTERRUPTED = """\
[   29.192720] Sending NMI from CPU 0 to CPUs 1:
[   29.194148] NMI backtrace for cpu 1
[   29.194620] CPU: 1 UID: 0 PID: 0 Comm: swapper/1 Not tainted 7.2.0 #1 PREEMPTLAZY
[   29.194840] RIP: 0010:queued_spin_lock_slowpath+0x87/0x290
[   29.195420] Code: 57 85 c0 74 10 0f b6 03 84 c0 74 09 f3 90 0f b6 03 84 c0 75 f7 b8 01 00
[   29.195546] RSP: 0018:ffff88803e904d48 EFLAGS: 00000082
[   29.198401] RAX: 00000000ffff8880 RBX: ffff888000ce3e1c RCX: 000000000000003c
[   29.198503] FS:  0000000000000000(0000) GS:ffff8880bc60b000(0000) knlGS:0000000000000000
[   29.198542] CR2: 00007f7e98179000 CR3: 0000000004889000 CR4: 00000000003506b0
[   29.198636] Call Trace:
[   29.198959]  <IRQ>
[   29.199183]  _raw_spin_lock_irqsave+0x31/0x40
[   29.199301]  copy_done+0x73/0xe0 [a_module]
[   29.199418]  common_interrupt+0x7c/0x90
[   29.199460]  </IRQ>
[   29.199467]  <TASK>
[   29.199472]  asm_common_interrupt+0x27/0x40
[   29.199532] RIP: 0010:pv_native_safe_halt+0xb/0x10
[   29.199545] Code: 65 48 8b 3d 97 51 90 00 48 89 e5 e8 1f 00 00 00 48 2b 05 98 38 4d 00 5d
[   29.199644]  ? ct_kernel_exit.constprop.0+0x73/0x80
[   29.199661]  arch_cpu_idle+0x9/0x10
[   29.199736]  </TASK>
[   29.199906] INFO: NMI handler (nmi_cpu_backtrace_handler) took too long to run: 5.775 msecs
"""
IDLE = """\
[   29.194840] RIP: 0010:pv_native_safe_halt+0xb/0x10
[   29.198636] Call Trace:
[   29.199467]  <TASK>
[   29.199653]  ? default_idle+0x9/0x10
[   29.199661]  arch_cpu_idle+0x9/0x10
[   29.199736]  </TASK>
[   29.199906] INFO: something else
"""
ASLEEP = """\
[   32.481663] rcu: RCU grace-period kthread stack dump:
[   32.482006] task:rcu_sched       state:R stack:0     pid:17    tgid:17    ppid:2
[   32.482010] Call Trace:
[   32.482011]  <TASK>
[   32.482012]  __schedule+0x3f1/0xa60
[   32.482013]  schedule+0x25/0xd0
[   32.482014]  </TASK>
[   32.484136] rcu: Stack dump where RCU GP kthread last ran:
"""


def messages(console: str) -> list[str]:
    """The lines of a console without their times."""
    return list(map(unstamped, console.splitlines()))


def test_a_trace_is_what_was_running_and_who_called_it() -> None:
    assert traces(messages(INTERRUPTED)) == [
        (
            "queued_spin_lock_slowpath", "_raw_spin_lock_irqsave", "copy_done", "common_interrupt",
            "asm_common_interrupt", "pv_native_safe_halt", "arch_cpu_idle",
        )
    ]  # fmt: skip


def test_a_processor_that_had_nothing_to_do_explains_nothing() -> None:
    assert traces(messages(IDLE)) == []
    assert where(messages(IDLE)) == ""


def test_what_ran_is_told_rather_than_what_slept() -> None:
    both = messages(ASLEEP + IDLE + INTERRUPTED)
    assert [trace[0] for trace in traces(both)] == ["__schedule", "queued_spin_lock_slowpath"]
    assert where(both, 3) == "queued_spin_lock_slowpath <- _raw_spin_lock_irqsave <- copy_done"
    assert where(messages(ASLEEP)) == "__schedule <- schedule"


def test_tasks_that_sleep_have_a_trace_each() -> None:
    assert len(traces(messages(ASLEEP + ASLEEP))) == 2
