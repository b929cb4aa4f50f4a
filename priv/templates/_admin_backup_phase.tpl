{% if job.phase == `database` %}{_ Dumping the database _}
{% elseif job.phase == `config` %}{_ Packing the configuration _}
{% elseif job.phase == `files` %}{_ Packing the media files _}
{% elseif job.phase == `verify` and job.kind == `restore` %}{_ Proving the backup before it is restored _}
{% elseif job.phase == `verify` %}{_ Proving that the backup is whole _}
{% elseif job.phase == `unpack` %}{_ Unpacking _}
{% elseif job.phase == `load` %}{_ Loading the database _}
{% elseif job.phase == `place` %}{_ Putting the files in their places _}
{% elseif job.phase == `upload` %}{_ Copying backups to the store _}
{% elseif job.phase == `download` %}{_ Getting backups from the store _}
{% elseif job.kind == `backup` %}{_ Making a backup _}
{% elseif job.kind == `verify` %}{_ Proving a backup _}
{% elseif job.kind == `restore` %}{_ Restoring a backup _}
{% elseif job.kind == `upload` %}{_ Looking what the store has and what it lacks _}
{% elseif job.kind == `download` %}{_ Looking for newer backups in the store _}
{% else %}{_ Working _}{% endif %}
