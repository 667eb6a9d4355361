"""The prepare room: from raw archives to sharded TFRecords."""
