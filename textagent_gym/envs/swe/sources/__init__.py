"""Sources of tasks: the index, source distributions, releases, images and rows of data sets."""
