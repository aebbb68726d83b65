"""How things are done, for both planes: dispatch, identity, store, reconcile."""
