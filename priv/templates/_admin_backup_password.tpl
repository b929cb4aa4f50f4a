{% if m.backup.encrypt_backups %}
    {% if m.backup.has_encrypt_password %}
        <p class="help-block">
            <strong>{_ Keep a copy of the password at another, safe place: without it the backups cannot be opened. _}</strong>
            {% if m.backup.is_config_locked %}
                {_ It is in the configuration of the server. _}
            {% else %}
                {_ You find it in the _} <a href="{% url admin_config %}">{_ system configuration _}</a>,
                <code>mod_backup.backup_encrypt_password</code>.
            {% endif %}
        </p>
    {% else %}
        <p class="text-danger">{_ There is no password. No backup is made before there is one. _}</p>
    {% endif %}
{% else %}
    <p class="help-block">{_ Whoever gets hold of a backup that is not encrypted can read all of the site, and its secrets. _}</p>
{% endif %}
