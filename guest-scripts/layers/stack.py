# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's stack: disks, and the layers on them, brought up and taken away in order."""

import contextlib
import os

import byserial
import capability
import disk_properties
import kernellog
import probe
import properties
import readback
import system
import verify
from layer import LINKS, device_below, path_of, remove_links, set_link

READY = "/run/lab/ready"
"""Made by pid 1 when udev has handled every disk of the profile; how long that may take, the host
decides."""
LATE = 1.0
"""Seconds that a disk may still take then, more where the guest is slow (system.wait_for)."""


class Stack:
    """The stack of a guest; `tell` is called with each step, as keyword arguments.

    disks   ref, alias, kind, serial and nsid of each
    layers  Layer objects, each above what it stands on
    probing whether to try what each offers
    asked   the settings of the command line to look at
    """

    def __init__(self, disks, layers, tell, probing=True, asked=None):
        self.disks = disks
        self.layers = layers
        self.tell = tell
        self.probing = probing
        self.asked = asked
        self.first = None

    def up(self):
        """Find the disks, make the layers; whether all that the profile requires is up."""
        # udev opens every new disk, and would be in the way of what is done with it now.
        system.wait_for(lambda: os.path.exists(READY), READY, deadline=3600)
        busy = self._used(layer for layer in self.layers if path_of(layer.name))
        found = [self._attempt(disk["ref"], "disk", self._find, disk) for disk in self.disks]
        for step in found:
            self._probe(step, busy)
            self.tell(**step)
        missing = {step["name"] for step in found if step["status"] != "up"}
        stopped = False
        for layer in self.layers:
            self.tell(event="starting", name=layer.name)
            lacking = [use for use in layer.uses() if use.partition(":")[0] in missing]
            if lacking:
                step = _skipped(layer.name, f"stands on {lacking[0]}, which is not up")
            elif stopped:
                step = _skipped(layer.name, "not begun")
            else:
                step = self._attempt(layer.name, "layer", _make, layer)
                self._probe(step, busy, layer.spec["type"])
                _mend(layer, step)
            self.tell(**step, type=layer.spec["type"])
            if step["status"] != "up":
                missing.add(layer.name)
                stopped = stopped or layer.spec["required"]
        # Last: a layer may have loaded the module.
        for step in readback.look(self.asked) if self.asked else ():
            self.tell(**step)
        return not stopped

    def _attempt(self, name, event, action, subject):
        """Do something and say how it ended, with the kernel's messages if it failed."""
        # Of a disk, the driver said what there is to say when it found it.
        words = disk_properties.DRIVERS[subject["kind"]] if event == "disk" else ()
        log = kernellog.KernelLog(words)
        step = {"event": event, "name": name, "status": "up"}
        try:
            return step | action(subject)
        except system.Failure as problem:
            step |= {"status": "not supported", "tried": problem.tried, "said": problem.said}
            step |= {"errno": problem.error, "cure": problem.cure}
            return step | {"kernel": log.messages()}

    def _probe(self, step, busy, kind="disk"):
        """Add to a step what its disk or layer offers, if nothing uses it yet.

        The first block device of the stack is the one from which copies to all others are tried.
        """
        device = step["status"] == "up" and step["devices"].get("")
        if device and self.first is None:
            self.first = (step["name"], device)
        if not self.probing or step["status"] != "up" or step["name"] in busy:
            return
        why_not = self._fails_at_times(step["name"])
        if step.get("mount"):
            step["capabilities"] = probe.directory(step["mount"], kind, why_not)
        elif device and not system.in_use(device):
            other = self.first if self.first[0] != step["name"] else None
            step["capabilities"] = probe.block(device, other, why_not)

    def _fails_at_times(self, name):
        """Why requests to a disk or layer may fail now, and not a moment later: that of itself or
        of what it stands on; '' if they do not."""
        layers = {layer.name: layer for layer in self.layers}
        wanted = [name.partition(":")[0]]
        while wanted:
            if layer := layers.get(wanted.pop()):
                if why := layer.fails_at_times():
                    return why
                wanted += [use.partition(":")[0] for use in layer.uses()]
        return ""

    def _find(self, disk):
        # pid 1 has waited for all disks, so that one which is not there now will not come.
        try:
            device = byserial.disk(disk["kind"], disk["serial"], disk["nsid"], deadline=LATE)
        except system.Failure as problem:
            problem.cure = disk_properties.cure(disk["asked"])
            raise
        disk_properties.prepare(disk, device)
        # A reboot makes the same disks of the same devices.
        asked = disk_properties.of_disk(disk, device) if self.probing else ()
        told = properties.check(asked)
        for reference in dict.fromkeys((disk["ref"], disk["alias"])):
            set_link(reference, device)
        return {
            "devices": {"": device},
            "size": system.size_of(device),
            "properties": told,
        }

    def down(self):
        """Take the layers away, the last first; whether all are gone."""
        gone = True
        for layer in reversed(self.layers):
            try:
                # A device that was just closed may still be open in udev.
                system.settle()
                layer.down()
                remove_links(layer.name)
                self.tell(event="layer", name=layer.name, status="down")
            except system.Failure as problem:
                gone = False
                self.tell(event="layer", name=layer.name, status="still up", said=str(problem))
        return gone

    def status(self):
        """Tell what is up."""
        for name in self._names():
            path = path_of(name)
            state = "up" if path else "down"
            self.tell(event="status", name=name, status=state, said=path or "")
        return True

    def verify(self):
        """Write, read back and copy on all that nothing stands on; whether all is well."""
        well = True
        for name in self._tops():
            try:
                if why := self._fails_at_times(name):
                    raise verify.NotVerified(why)
                outcome, said = "holds", verify.verify(device_below(name))
            except verify.NotVerified as why:
                outcome, said = "not verified", str(why)
            except (system.Failure, verify.Mismatch) as problem:
                outcome, said, well = "violated", str(problem), False
            self.tell(event="verify", name=name, status=outcome, said=said)
        return well

    def _names(self):
        return [disk["ref"] for disk in self.disks] + [layer.name for layer in self.layers]

    def _tops(self):
        """What is up and nothing stands on: disks, layers, and parts of layers."""
        used = self._used(self.layers)
        names = self._names()
        links = sorted(os.listdir(LINKS)) if os.path.isdir(LINKS) else []
        parts = [link for link in links if link.partition(":")[0] in names and link not in names]
        # A disk with partitions is written through them.
        used |= {part.partition(":")[0] for part in parts if part[-1].isdigit()}
        return [name for name in names + parts if name not in used and _can_be_used(name)]

    def _used(self, layers):
        """What these layers stand on.  The kernel does not know: nvmet, for one, claims nothing."""
        whole = {disk["alias"]: disk["ref"] for disk in self.disks}
        return {whole.get(use, use) for layer in layers for use in layer.uses()}


def _can_be_used(name):
    """Whether something is up, and no export, which another guest uses."""
    path = path_of(name)
    return bool(path) and not path.startswith(system.CONFIGFS)


def _make(layer):
    made = layer.up()
    try:
        told = properties.check(layer.asked(made))
    except system.Failure:
        # What is not as asked is not there at all; who asked can go on without it.
        with contextlib.suppress(system.Failure):
            layer.down()
        raise
    for part, device in made.devices.items():
        set_link(f"{layer.name}:{part}" if part else layer.name, device)
    size = None
    if made.mount:
        set_link(layer.name, made.mount)
        figures = os.statvfs(made.mount)
        size = figures.f_blocks * figures.f_frsize
    elif made.export:
        set_link(layer.name, made.export)
    elif "" in made.devices:
        size = system.size_of(made.devices[""])
    step = {"devices": made.devices, "mount": made.mount, "keep": made.keep, "size": size}
    return step | {"properties": told}


def _mend(layer, step):
    """Add to a step what the trials have done to its layer, which is made good."""
    if step.get("capabilities") and (harm := layer.mend()):
        step["capabilities"].append(capability.wrong("unharmed by trials", harm))


def _skipped(name, why):
    return {"event": "layer", "name": name, "status": "skipped", "said": why}
