"""Programs of other libraries that speed is compared with."""
