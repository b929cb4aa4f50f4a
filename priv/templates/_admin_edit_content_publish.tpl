{% overrules %}

{% block more_actions %}
    {% inherit %}
    {% if id.is_editable %}
        <li>
            <a href="{% url admin_backup_revision id=id %}" id="backup-revisions">
                <span class="glyphicon glyphicon-time"></span> {_ Earlier versions… _}
            </a>
        </li>
    {% endif %}
{% endblock %}
