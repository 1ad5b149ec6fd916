"""The encoder level: a BERT-like model whose head, and top layers if asked for, learn online."""
