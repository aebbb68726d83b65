"""What an instance runs on. A runner is a few verbs, each of which may be called twice."""
