"""The suite verity: what device mapper checks and encrypts, while its medium goes bad."""
