"""What a release is and where it lives: tensors by content, manifests, one head for each task.

The lowest layer. Import from the modules: ``store`` (`ModelStore`), ``watch`` (`HeadWatcher`),
``memory`` and ``redis_backend`` (where releases live), ``ledger`` and ``redis_ledger`` (what is
spent). Only the ``redis_*`` modules and ``embedded`` import redis.
"""
