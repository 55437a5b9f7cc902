"""Pure frozen data, YAML in and out: what every other part agrees on."""
