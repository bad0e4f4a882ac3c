"""Every decoder of what comes from outside or from disk, with millions of damaged and grown inputs."""
