<div class="alert {% if replica.restored and not replica.is_behind %}alert-info{% else %}alert-warning{% endif %}" role="alert">
    <strong>{_ This site is a replica: it follows another one, and no backups are made of it. _}</strong>
    {% if replica.restored as restored %}
        {% trans "It is as the primary was on {made}, {behind} ago. That was restored on {at}." made=restored.made|date:_"Y-m-d H:i" behind=replica.behind|escape at=restored.at|date:_"Y-m-d H:i" %}
    {% else %}
        {_ Nothing has been restored yet. _}
    {% endif %}
    {% if replica.is_behind %}
        {% trans "The backup of {made} is here and has not been restored yet." made=replica.newest.made|date:_"Y-m-d H:i" %}
    {% endif %}
    {% if replica.looked_at %}
        {% trans "The store was looked at on {date}." date=replica.looked_at|date:_"Y-m-d H:i" %}
    {% else %}
        {_ The store has not been looked at since the start. _}
    {% endif %}
</div>
