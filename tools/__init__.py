"""What only make and CI call: the environment, the runs, the ledger; sheaflib never imports it."""
