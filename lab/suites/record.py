"""What a run writes down of itself before anything happens."""

import json

from lab.build.kernel import provenance
from lab.guest.boot import Platform
from lab.profile.models import Profile
from lab.results.run import KERNEL, PROFILE, Run


def describe(run: Run, profile: Profile, platform: Platform) -> None:
    """Write the profile with all that was set, and where the kernel comes from."""
    run.write(PROFILE, profile.model_dump_json(indent=1, by_alias=True))
    run.write(KERNEL, json.dumps(provenance(platform.kernel), indent=1) + "\n")
