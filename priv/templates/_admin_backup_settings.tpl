<div class="widget">
    <h3 class="widget-header">{_ Settings _}</h3>
    <div class="widget-content">
        {% if m.backup.is_config_locked %}
            <p class="alert alert-info">
                <span class="glyphicon glyphicon-lock" aria-hidden="true"></span>
                {_ These settings are in the configuration of the server, and cannot be changed here. _}
            </p>
        {% endif %}
        {% with m.backup.daily_dump, m.backup.is_config_locked as daily, is_locked %}
            <fieldset {% if is_locked %}disabled{% endif %}>
                <legend class="h5">{_ Every night _}</legend>
                {% if m.backup.is_filestore_enabled %}
                    {# The two make the same backup. What is set stays for when the file store is gone. #}
                    <div class="radio">
                        <label>
                            <input id="backup_daily1" name="backup_daily" type="radio" value="{% if daily == '2' %}2{% else %}1{% endif %}" {% if daily != '0' %}checked{% endif %}>
                            {_ Database and configuration _}
                        </label>
                    </div>
                {% else %}
                    <div class="radio">
                        <label>
                            <input id="backup_daily1" name="backup_daily" type="radio" value="1" {% if daily == '1' %}checked{% endif %}>
                            {_ Database, configuration and media files _}
                        </label>
                    </div>
                    <div class="radio">
                        <label>
                            <input id="backup_daily2" name="backup_daily" type="radio" value="2" {% if daily == '2' %}checked{% endif %}>
                            {_ Only database and configuration _}
                        </label>
                    </div>
                {% endif %}
                <div class="radio">
                    <label>
                        <input id="backup_daily0" name="backup_daily" type="radio" value="0" {% if daily == '0' %}checked{% endif %}>
                        {_ Nothing _}
                    </label>
                </div>
                <p class="help-block">
                    {% trans "At {time} ({zone}). The last seven days are kept, and four Sundays." time=m.backup.backup_time|escape zone=m.backup.timezone|escape %}
                    {% if m.backup.verify_after %}{_ Each is proven to be whole after it was made. _}{% endif %}
                </p>
            </fieldset>
            <fieldset {% if is_locked %}disabled{% endif %}>
                <legend class="h5">{_ Encryption _}</legend>
                <div class="checkbox">
                    <label>
                        <input id="encrypt_backups" name="encrypt_backups" type="checkbox" value="1" {% if m.backup.encrypt_backups %}checked{% endif %}>
                        {_ Encrypt backups _}
                    </label>
                </div>
                <div id="backup-password-note" aria-live="polite">{% include "_admin_backup_password.tpl" %}</div>
            </fieldset>
            {% if not is_locked %}
                {% wire id="backup_daily0" postback=`config_backup_daily` delegate=`controller_admin_backup` %}
                {% wire id="backup_daily1" postback=`config_backup_daily` delegate=`controller_admin_backup` %}
                {% if not m.backup.is_filestore_enabled %}
                    {% wire id="backup_daily2" postback=`config_backup_daily` delegate=`controller_admin_backup` %}
                {% endif %}
                {% wire id="encrypt_backups" postback=`config_encrypt_backups` delegate=`controller_admin_backup` %}
            {% endif %}
        {% endwith %}
    </div>
</div>
