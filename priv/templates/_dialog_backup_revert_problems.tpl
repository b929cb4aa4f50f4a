{# The problems are HTML that was made of escaped text. #}
<p>{_ The page is back. This could not be brought back with it: _}</p>
<ul>
    {% for problem in problems %}<li>{{ problem }}</li>{% endfor %}
</ul>
<div class="modal-footer">
    <a class="btn btn-primary" href="{% url admin_edit_rsc id=id %}">{_ To the page _}</a>
</div>
