//! Talking to a daemon: what an orchestrator embeds.
