{# Without the right to see them the list would say that there are none: the alerts say why, see there. #}
{% if m.acl.is_allowed.use.mod_backup %}
{% with m.backup.allow_backup_download, m.acl.is_admin as is_download, is_admin %}
<div class="table-responsive">
<table class="table">
    <caption class="sr-only">{_ The backups, the newest first _}</caption>
    <thead>
        <tr>
            <th scope="col">{_ Made _}</th>
            <th scope="col">{_ State _}</th>
            <th scope="col" class="text-right">{_ Size _}</th>
            <th scope="col">{_ Download _}</th>
            <th scope="col"><span class="sr-only">{_ Actions _}</span></th>
        </tr>
    </thead>
    <tbody>
        {% for backup in m.backup.list_backups %}
            {% if backup.is_running %}
                <tr class="active">
                    <td>{{ backup.timestamp|date:_"Y-m-d H:i" }}</td>
                    <td colspan="4"><span class="label label-info">{_ being made _}</span></td>
                </tr>
            {% else %}{% with forloop.counter as nr %}
                <tr>
                    <td>
                        {% if backup.timestamp %}
                            <span title="{{ backup.timestamp|date:_"l" }}">{{ backup.timestamp|date:_"Y-m-d H:i" }}</span><br>
                        {% endif %}
                        <small class="text-muted">{{ backup.name|escape }}</small>
                    </td>
                    <td>
                        {% include "_admin_backup_badges.tpl" backup=backup %}
                    </td>
                    <td class="text-right">
                        {{ backup.size_text }}
                        {% if backup.duration_seconds|is_defined %}
                            <br><small class="text-muted" title="{_ How long it took _}">{{ backup.duration_seconds }} s</small>
                        {% endif %}
                    </td>
                    <td>
                        {% if is_download %}
                            {% if backup.is_database_present %}
                                <a class="btn btn-default btn-xs" href="{% url backup_download star=backup.database_file|urlencode %}" download
                                   aria-label="{_ Download the database of _} {{ backup.name|escape }}">{_ database _}</a>
                            {% endif %}
                            {% if backup.is_files_present %}
                                <a class="btn btn-default btn-xs" href="{% url backup_download star=backup.files_file|urlencode %}" download
                                   aria-label="{_ Download the files of _} {{ backup.name|escape }}">{_ files _}</a>
                            {% endif %}
                        {% endif %}
                    </td>
                    <td class="text-right">
                        {% if backup.is_database_present or backup.is_files_present %}
                            <button type="button" class="btn btn-default btn-xs" id="{{ #verify.nr }}"
                                    aria-label="{_ Verify now _} {{ backup.name|escape }}">{_ Verify now _}</button>
                            {% wire id=#verify.nr postback={verify name=backup.name} delegate=`controller_admin_backup` %}
                            {% if is_admin %}
                                <button type="button" class="btn btn-default btn-xs" id="{{ #restore.nr }}"
                                        aria-label="{_ Restore _} {{ backup.name|escape }}">{_ Restore… _}</button>
                                {% wire id=#restore.nr
                                        action={dialog_open title=_"Restore a backup" template="_dialog_backup_restore.tpl" backup=backup}
                                %}
                            {% endif %}
                        {% endif %}
                    </td>
                </tr>
            {% endwith %}{% endif %}
        {% empty %}
            <tr><td colspan="5">{_ There are no backups yet. _}</td></tr>
        {% endfor %}
    </tbody>
</table>
</div>
{% endwith %}
{% endif %}
