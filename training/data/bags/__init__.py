"""Recordings as training data: rosbag2 in, co-visible pairs of posed RGB-D views out."""
