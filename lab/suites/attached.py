"""The guest that is up in which a run is to happen."""

from lab.errors import UsageError
from lab.faults.byhand import require_free
from lab.guest.guest import Guest, attach
from lab.profile.models import Profile


def attached(name: str, profile: Profile, suite: str, hint: str) -> Guest:
    """The running guest of that name.

    Raises UsageError unless it is of the profile, as the suite boots it, and holds nothing; `hint`
    says how one is had.
    """
    guest = attach(name)
    its = guest.record.profile
    if its != profile:
        raise UsageError(
            f"guest {name}, of {its.name}, is of another profile than {profile.name} as {suite} "
            "boots it",
            hint=hint,
        )
    require_free(guest)
    return guest
