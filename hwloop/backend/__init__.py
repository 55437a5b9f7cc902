"""Who answers "what does this layer cost": targets, requests, the backends, the worker pool, whole networks."""
