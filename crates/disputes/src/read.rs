//! Read models: what commands, the interface for gateways and evidence packs are made of.
