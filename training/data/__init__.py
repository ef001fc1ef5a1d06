"""Data for training: one sample type (`views`), a file a source, and the questions asked about what they show."""
