"""What a hand is: joints, bones, cameras, the 2.5D representation. No input or output."""
