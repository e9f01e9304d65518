"""The suite cryptsetup: its own test scripts, a case each."""
