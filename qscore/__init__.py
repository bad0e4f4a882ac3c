"""Quality of transaction: Eq. 2 of the paper and the bounded score deltas, as pure integer arithmetic."""
