"""A study of methods x budgets x seeds on streams with recorded expert answers.

    python -m benchmarks.study run --data DATA_FOLDER --out study/
    python -m benchmarks.study table --out study/
    python -m benchmarks.study figures --out study/

Every run goes through the product's own replay: the same cascade, desk, trainer and releases as in
the job. A method changes the settings, or puts another policy or level in the place of the
product's, behind the same ports.
"""
