"""Cross-validation: each video is tested once, by a network that was trained on none of its group."""
