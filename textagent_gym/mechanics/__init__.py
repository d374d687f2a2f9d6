"""Parts that every domain is built from: knobs, the reward, spaces of text, and search for plans."""
