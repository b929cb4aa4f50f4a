{% if m.backup.running as job %}
    {% include "_admin_backup_phase.tpl" job=job %}
{% elseif q.status == "completed" %}
    {_ The backup is made. _}
{% elseif q.status == "verified" %}
    {_ The proof is done: see the list of backups. _}
{% elseif q.status == "uploaded" %}
    {_ The backups are copied to the store. _}
{% elseif q.status == "restored" %}
    {_ The backup is restored, the site is started again. _}
{% elseif q.status == "error" or q.status == "verify_error" or q.status == "restore_error"
        or q.status == "upload_error" or q.status == "download_error" %}
    {_ It failed: see the message above. _}
{% endif %}
