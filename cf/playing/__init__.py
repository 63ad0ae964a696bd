"""A network that makes video live: sessions that are played, recorded and replayed."""
