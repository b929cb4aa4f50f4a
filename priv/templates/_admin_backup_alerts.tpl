{# A page that stays open through a restore can be of a session that the restored database does not know: nothing
 # that it may not see is to look as if it were not there. #}
{% if not m.acl.is_allowed.use.mod_backup %}
    <div class="alert alert-warning" role="alert">
        <strong>{_ You are not logged on any more. _}</strong>
        {_ A restored database does not know who logged on after it was backed up. _}
        <a class="alert-link" href="{% url logon %}">{_ Log on again _}</a>
    </div>
{% else %}
{% with m.backup.status as status %}
    {% if m.backup.encrypt_backups and not m.backup.has_encrypt_password %}
        <div class="alert alert-danger" role="alert">
            <strong>{_ There is no password. _}</strong>
            {_ Backups are to be encrypted, and none is made before there is a password: set <code>mod_backup.backup_encrypt_password</code>, or switch the encryption off. _}
        </div>
    {% endif %}
    {% if status.problem %}
        <div class="alert alert-danger" role="alert">
            <strong>{_ It is not known when the next backup is due. _}</strong>
            {{ status.problem|escape }}
        </div>
    {% endif %}
    {% if status.failure as failure %}
        <div class="alert alert-danger" role="alert">
            <strong>{% trans "The backup of {date} failed." date=failure.at|date:_"Y-m-d H:i" %}</strong>
            {{ failure.message|escape|linebreaksbr }}
        </div>
    {% endif %}
    {% for failure in m.backup.failures %}
        <div class="alert alert-danger" role="alert">
            <strong>
                {% if failure.kind == `restore` %}
                    {% trans "The restore of {date} failed." date=failure.at|date:_"Y-m-d H:i" %}
                {% elseif failure.kind == `upload` %}
                    {% trans "Not all backups could be copied to the store on {date}. Those here are not touched by that." date=failure.at|date:_"Y-m-d H:i" %}
                {% elseif failure.kind == `download` %}
                    {% trans "Not all backups could be taken from the store on {date}." date=failure.at|date:_"Y-m-d H:i" %}
                {% else %}
                    {% trans "The proof of {date} could not be made." date=failure.at|date:_"Y-m-d H:i" %}
                {% endif %}
            </strong>
            {{ failure.message|escape|linebreaksbr }}
        </div>
    {% endfor %}
    {% if m.backup.replica as replica %}
        {% include "_admin_backup_replica.tpl" replica=replica %}
    {% elseif status.is_stale %}
        <div class="alert alert-warning" role="alert">
            {% if status.last_good %}
                <strong>{_ The last good backup is older than two days. _}</strong>
                {% trans "It was made on {date}." date=status.last_good|date:_"Y-m-d H:i" %}
            {% else %}
                <strong>{_ There is no good backup yet. _}</strong>
            {% endif %}
        </div>
    {% elseif not status.is_nightly %}
        <div class="alert alert-warning" role="alert">
            <strong>{_ No nightly backups are made. _}</strong>
        </div>
    {% endif %}
{% endwith %}
{% endif %}
