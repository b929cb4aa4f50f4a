{% extends "admin_base.tpl" %}

{% block title %}{_ Backups _}{% endblock %}

{% block content %}
    <div class="admin-header">
        <h2>{_ Backups _}</h2>
        <p>
            {% if m.backup.is_filestore_enabled %}
                {_ Backups of the database and the configuration of this site. _}
            {% else %}
                {_ Backups of the database, the configuration and the files of this site. _}
            {% endif %}
            {% if m.backup.directory as directory %}
                <br>{_ They are in the folder _} <code>{{ directory|escape }}</code>
            {% endif %}
        </p>
    </div>

    {# After a restore the site is another one: what is shown is asked again when the connection is back. #}
    {% live template="_admin_backup_alerts.tpl"
            topic="bridge/origin/model/backup/event/backup"
            topic="$bridge/origin/status"
    %}

    <div class="row">
        <div class="col-lg-8 col-md-7">
            <div class="widget">
                <h3 class="widget-header">{_ Make a backup _}</h3>
                <div class="widget-content">
                    {% include "_admin_backup_start.tpl" %}
                    {% live template="_admin_backup_progress.tpl"
                            topic="bridge/origin/model/backup/event/backup"
                            topic="bridge/origin/model/backup/event/progress"
                            topic="$bridge/origin/status"
                    %}
                    {# Only what is said here is read aloud: the bar above changes every second. #}
                    <div class="sr-only" role="status" aria-live="polite">
                        {% live template="_admin_backup_spoken.tpl"
                                topic="bridge/origin/model/backup/event/backup"
                                topic="$bridge/origin/status"
                        %}
                    </div>
                </div>
            </div>

            <div class="widget">
                <h3 class="widget-header">{_ The backups _}</h3>
                <div class="widget-content">
                    {% live template="_admin_backup_list.tpl"
                            topic="bridge/origin/model/backup/event/backup"
                            topic="$bridge/origin/status"
                    %}
                </div>
            </div>
        </div>

        <div class="col-lg-4 col-md-5">
            {% if m.acl.is_admin %}
                {% include "_admin_backup_settings.tpl" %}
                {% include "_admin_backup_settings_offsite.tpl" %}
                {% include "_admin_backup_settings_revisions.tpl" %}
            {% endif %}
        </div>
    </div>
{% endblock %}
