"""The Docker factory: builds the image, ships it to a host over ssh, and starts it there, or leaves what was there."""
