"""Images that are built of sources: `spec` says of what, `sources` fetches it, `building` hands it to an engine."""
