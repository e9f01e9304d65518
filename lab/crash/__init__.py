"""The write log and the media that a power cut leaves."""
