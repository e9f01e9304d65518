"""The lab's speed, measured side by side with virtme-ng: `make benchmark`."""
