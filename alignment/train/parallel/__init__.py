"""How the processes of one launch train one model together: whole copies, FSDP2's shards, DeepSpeed's."""
