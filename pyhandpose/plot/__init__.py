"""Pictures: overlays, skeletons, curves."""
