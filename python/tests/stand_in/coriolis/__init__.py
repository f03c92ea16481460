"""As much of Coriolis as a provider meets, after what its public repository says in 2026."""
