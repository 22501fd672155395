"""What only make and CI call: the environment, the runs, the ledger and the README's tables; sheaflib never imports it."""
