{% if m.backup.allow_manual_backup %}
    <p>{_ A backup that you make takes the place of the one of the same day of the week. _}</p>
{% else %}
    <p>{_ Backups cannot be started by hand: the configuration forbids it. _}</p>
{% endif %}
{% if m.backup.is_filestore_enabled %}
    <p class="help-block">
        <span class="glyphicon glyphicon-info-sign" aria-hidden="true"></span>
        {_ The media files are in a file store and are not backed up here: make sure that the store has its own backup. _}
    </p>
{% endif %}
{% if m.backup.allow_manual_backup %}
    <p>
        {% if m.backup.is_filestore_enabled %}
            {% button class="btn btn-primary" text=_"Back up database and configuration" action={backup_start is_full_backup} %}
        {% else %}
            {% button class="btn btn-primary" text=_"Back up everything" action={backup_start is_full_backup} %}
            {% button class="btn btn-default" text=_"Back up only the database" action={backup_start is_full_backup=false} %}
        {% endif %}
    </p>
{% endif %}
