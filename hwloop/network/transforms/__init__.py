"""What a plan does to a network: fewer channels, factors of lower rank, layers left out, zeros, few bits."""
