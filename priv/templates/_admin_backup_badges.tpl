{% if backup.problem %}
    <span class="label label-danger">{_ cannot be used _}</span>
    <br><small class="text-danger">{{ backup.problem|escape }}</small>
{% else %}
    {% if backup.is_weekly %}<span class="label label-default">{_ weekly _}</span>{% endif %}
    {% if backup.is_encrypted %}<span class="label label-info">{_ encrypted _}</span>{% endif %}
    {% if backup.is_filestore_uploaded %}<span class="label label-success" title="{_ There is a copy in the store _}">{_ uploaded _}</span>{% endif %}
    {% if backup.verified as verified %}
        {% if verified.ok %}
            <span class="label label-success" title="{{ verified.at|date:_"Y-m-d H:i" }}">{_ verified _}</span>
        {% else %}
            <span class="label label-danger" title="{{ verified.at|date:_"Y-m-d H:i" }}">{_ not proven _}</span>
            <br><small class="text-danger">{{ verified.problem|escape }}</small>
        {% endif %}
    {% endif %}
    {% for file in backup.missing %}
        <br><small class="text-danger">{% trans "{file} is missing, or not as long as it should be" file=file|escape %}</small>
    {% endfor %}
    {% if not backup.is_files_present and not backup.missing %}
        <br><small class="text-muted">{_ without media files _}</small>
    {% elseif backup.files_timestamp %}
        <br><small class="text-muted">{% trans "media files of {date}" date=backup.files_timestamp|date:_"Y-m-d H:i" %}</small>
    {% endif %}
{% endif %}
