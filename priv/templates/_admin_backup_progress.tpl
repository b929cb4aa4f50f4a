{% if m.backup.running as job %}
    {% include "_admin_backup_job.tpl" job=job %}
{% else %}
    {% with m.backup.status as status %}
        {% if status.is_nightly and status.next %}
            <p class="text-muted">{% trans "The next one is made by itself on {date}." date=status.next|date:_"Y-m-d H:i" %}</p>
        {% endif %}
    {% endwith %}
{% endif %}
{% if m.backup.copying as job %}
    {% include "_admin_backup_job.tpl" job=job %}
{% endif %}
