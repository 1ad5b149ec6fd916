"""Sources: files of posts, read in blocks, as records that are events or dead letters."""
