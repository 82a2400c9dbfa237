"""A TokPortal look-alike: the REST operations that an orchestrator uses, judged by the vendor's own rules."""
