"""Sources: files, topics of Kafka, streams of Redis; records are events or dead letters."""
