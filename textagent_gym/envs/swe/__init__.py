"""SWEGym: software repair in real repositories."""
