"""The cascade itself and its teacher: plain objects, driven by the Flink job and by the replay."""
